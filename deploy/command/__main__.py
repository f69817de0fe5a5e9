"""`python -m deploy.command`: how `domovoi up` starts its parts."""

from deploy.command.application import main

main()
