"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz TARGET [libFuzzer options]`, or `make fuzz`."""
