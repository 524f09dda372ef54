"""Every promise, and every fault that the design foresees, has its test: this is the list of them."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

ROWS = {
    "one undecodable JPEG tile": [
        "promises/test_slides.py::test_one_undecodable_tile_costs_the_patches_that_touch_it"
    ],
    "tile of zero length, transparent area": [
        "promises/test_slides.py::test_a_tile_of_zero_length_is_never_tissue"
    ],
    "truncated or not a slide": [
        "promises/test_slides.py::test_what_is_no_slide_is_named_by_what_it_is",
        "promises/test_slides.py::test_a_real_file_that_is_no_slide_is_refused",
    ],
    "no mpp / mpp 0, negative, 264.58": [
        "promises/test_slides.py::test_no_mpp_or_an_implausible_one_is_refused_until_it_is_given",
        "promises/test_slides.py::test_the_real_slides_with_a_false_mpp_are_refused",
    ],
    "TIFF bomb, cyclic IFD, decoder crash": [
        "promises/test_hostile_files.py::test_bombs_and_loops_cost_themselves_only",
        "promises/test_hostile_files.py::test_a_decoder_that_crashes_hangs_or_eats_memory_costs_its_slide",
    ],
    "kill -9, power cut": [
        "promises/test_stopped.py::test_after_kill_9_only_what_was_not_complete_is_redone",
        "features/test_crash_points.py",
    ],
    "flipped or deleted chunk": [
        "promises/test_storage.py::test_a_damaged_chunk_is_named_and_exactly_that_slide_is_healed"
    ],
    "disk full": [
        "promises/test_storage.py::test_a_full_disk_while_a_slide_is_written",
        "promises/test_storage.py::test_a_disk_that_is_full_at_any_moment",
    ],
    "GPU out of memory": ["promises/test_computing.py::test_out_of_memory_halves_the_batch_and_remembers_it"],
    "two slides with one name, a.svs beside a.ndpi, symlink loop, hostile file name": [
        "promises/test_names.py::test_one_name_in_two_folders_and_in_two_formats",
        "promises/test_names.py::test_a_loop_of_links_ends_and_no_file_is_taken_twice",
        "promises/test_names.py::test_hostile_names_round_trip",
        "promises/test_names.py::test_no_table_holds_a_formula_and_no_name_reaches_outside",
    ],
    "no tissue found": ["promises/test_slides.py::test_no_tissue_is_neither_done_nor_failed"],
    "Dask worker dies, poison slide": [
        "promises/test_computing.py::test_a_dead_worker_costs_nothing_and_a_poison_slide_itself"
    ],
    "head used with other embeddings": [
        "promises/test_computing.py::test_a_head_refuses_other_embeddings_and_names_the_fields"
    ],
    "Ctrl-C": [
        "promises/test_stopped.py::test_ctrl_c_lets_the_write_finish_and_prints_the_command_that_resumes"
    ],
}
"""What happens, and the tests that make it happen."""

PROMISES = {
    "1. Fail loud, lose nothing": [
        "promises/test_promises.py::test_1_each_loss_is_as_small_as_its_cause_and_the_exit_code_tells"
    ],
    "2. A killed run resumes": [
        "promises/test_promises.py::test_2_whenever_it_was_killed_a_run_resumes_to_the_same_bytes",
        "features/test_crash_points.py",
    ],
    "3. Never guess what changes a result": [
        "promises/test_promises.py::test_3_what_changes_a_result_is_refused_and_never_guessed"
    ],
    "4. Patient data stays in the slide": ["cli/test_privacy.py", "wsi/test_privacy.py"],
    "5. No code from data": ["mil/test_untrusted.py"],
    "6. No network at run time": ["promises/test_promises.py::test_6_nothing_goes_over_the_network"],
    "7. Same input, same output": [
        "promises/test_promises.py::test_7_results_depend_neither_on_batches_nor_on_workers_nor_on_order"
    ],
}
"""The promises, and the tests that hold them. Of a file named alone, all its tests."""


def test_every_row_has_its_tests() -> None:
    assert len(ROWS) == 14
    assert len(PROMISES) == 7
    for row, tests in (ROWS | PROMISES).items():
        assert tests, row
        for test in tests:
            file, _, name = test.partition("::")
            defined = [
                n.name for n in ast.parse((TESTS / file).read_text()).body if isinstance(n, ast.FunctionDef)
            ]
            assert name in defined or (not name and any(found.startswith("test_") for found in defined)), test
