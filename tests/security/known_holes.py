"""Classes of holes that were published in programs like this one, and the tests that look for each here."""

from __future__ import annotations

from typing import NamedTuple

REQUESTS = "tests/security/test_bad_requests.py::test_every_request_of_the_table"


class Hole(NamedTuple):
    """A class of holes: where it was found, and tests as `file::name`."""

    name: str
    found: str
    tests: tuple[str, ...]


HOLES = (
    Hole(
        "Algorithm confusion",
        "PyJWT CVE-2022-29217, python-jose CVE-2024-33663",
        (
            "tests/security/test_known_holes.py::test_algorithm_confusion_a_public_key_is_no_secret",
            "tests/security/test_bad_tokens.py::test_every_token_of_the_table",
            "tests/shared/test_tokens.py::test_K1_a_key_confused_with_a_secret_is_refused",
        ),
    ),
    Hole(
        "One token for two APIs",
        "LibreChat CVE-2026-33265",
        (
            "tests/security/test_known_holes.py::test_one_token_for_two_apis_each_opens_its_own_alone",
            "tests/security/test_matrix.py::test_the_owners_tokens_open_their_own_doors_and_no_others",
            "tests/sync_server/test_authentication.py::test_K3_a_token_for_a_node_opens_nothing_here",
        ),
    ),
    Hole(
        "A live stream after revocation",
        "Open WebUI CVE-2026-44553",
        (
            "tests/security/test_known_holes.py::test_live_socket_after_revocation_every_stream_that_is_open_ends",
            "tests/sync_server/test_news.py::test_revoking_a_device_closes_its_streams",
            "tests/sync_server/test_relay.py::test_revoking_the_device_closes_its_calls",
            "tests/inference_node/test_revocation.py::test_K9_a_revoked_device_is_cut_off_in_mid_answer",
        ),
    ),
    Hole(
        "A key that every copy has",
        "LobeHub CVE-2026-39411",
        ("tests/security/test_known_holes.py::test_hard_coded_key_two_servers_have_no_secret_in_common",),
    ),
    Hole(
        "DNS rebinding",
        "Ollama CVE-2024-28224",
        (
            "tests/security/test_known_holes.py::test_dns_rebinding_a_name_that_leads_here_is_not_ours",
            "tests/end_to_end/test_strange_pages.py::test_no_strange_page_gets_anything",
            "tests/sync_server/test_guard.py::test_only_our_own_host_names",
            "tests/inference_node/test_door.py::test_other_host_names_are_refused",
        ),
    ),
    Hole(
        "Cross-site calls to a local API",
        "SillyTavern CVE-2025-59159",
        (
            "tests/security/test_known_holes.py::test_cross_site_calls_to_a_local_api_change_nothing",
            "tests/end_to_end/test_strange_pages.py::test_no_strange_page_gets_anything",
            "tests/sync_server/test_guard.py::test_other_origins_change_nothing",
            "tests/sync_server/test_tunnels.py::test_a_page_may_not_open_a_tunnel",
            "tests/inference_node/test_door.py::test_pages_of_other_origins_are_refused",
        ),
    ),
    Hole(
        "Path traversal by a model's name",
        "Ollama CVE-2024-37032",
        (
            "tests/security/test_known_holes.py::test_model_path_traversal_no_name_leads_out_of_the_folder",
            "tests/inference_node/test_models.py::test_nothing_outside_the_folder_can_be_removed",
            "tests/inference_node/test_pulling.py::test_addresses_that_name_no_model_file_are_refused",
        ),
    ),
    Hole(
        "Code in a chat template",
        "llama-cpp-python CVE-2024-34359",
        (
            "tests/security/test_known_holes.py::test_chat_template_execution_a_models_template_runs_nothing",
            "tests/security/test_known_holes.py::test_chat_template_execution_ours_has_no_python_and_little_patience",
        ),
    ),
    Hole(
        "Form and range bombs",
        "Starlette CVE-2024-47874, CVE-2025-62727",
        (REQUESTS, "tests/security/test_known_holes.py::test_range_bomb_many_ranges_cost_no_time"),
    ),
    Hole(
        "Script in what a model writes",
        "Open WebUI CVE-2025-64496",
        ("pwa/tests/markdown/sanitize.test.ts::XSS through rendered output: holds nothing that runs or loads",),
    ),
    Hole(
        "Data carried away by an image's address",
        "Microsoft 365 Copilot CVE-2025-32711",
        (
            "pwa/tests/markdown/sanitize.test.ts::markdown exfiltration: shows pictures from elsewhere as links",
            "pwa/tests/components/markdownText.test.ts::leads nowhere before a person has seen the whole address",
        ),
    ),
)
