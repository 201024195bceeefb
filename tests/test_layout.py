"""Where a test belongs: `tests/FOLDER` tests `tf_simclrv2/FOLDER`, and nothing lies anywhere else.

Which test belongs to which module: `FOLDER/test_NAME.py` tests `FOLDER/NAME.py`, at any depth, or it is
listed in `NOT_OF_ONE_MODULE` with what it tests instead.
"""

from __future__ import annotations

import ast
import pathlib

import pytest

import tf_simclrv2

TESTS = pathlib.Path(__file__).parent
LIBRARY = pathlib.Path(tf_simclrv2.__file__).parent
FOLDERS = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
# What no single folder answers for.
ACROSS = {
    "benchmarks": "programs outside the library",
    "conformance": "every layer, loss and stage against the same list of demands",
    "docs": "pages, and the commands in them",
    "faults": "programs that are killed",
    "goldens": "numbers of the published code, and the tests that load them",
}
# Packages at the root that only pass on what a folder has.
ENTRY_POINTS = {"flags": "cli", "export": "export"}
# Tests that import nothing of what they test: a program that they start does, or a fixture.
INDIRECT = {
    "cli/test_quiet.py",
    "distribution/test_lost_worker.py",
    "distribution/test_two_workers.py",
    "modules/test_serving_signatures.py",
    "training/test_resume.py",
}
# Tests that have no module's name, and what they test instead.
NOT_OF_ONE_MODULE = {
    "test_layout.py": "the tests' own folders",
    "test_model_config.py": "one class of config.py",
    "test_run.py": "run.py, in the root of the checkout",
    "test_structure.py": "imports and functions of all modules",
    "test_wheel.py": "what is installed",
    "cli/test_flags.py": "the folder cli/flags",
    "cli/test_quiet.py": "what no command prints",
    "data/test_damaged_files.py": "all formats of images, damaged",
    "data/test_data_service.py": "service.py and service_client.py together",
    "distribution/test_cross_replica.py": "collectives.py, under losses and batch norm",
    "distribution/test_lost_worker.py": "two processes, of which one goes",
    "distribution/test_two_workers.py": "two processes, against one",
    "evaluation/test_transparent_images.py": "neighbors and decoding together",
    "export/test_examples.py": "the examples of the documents",
    "export/test_export.py": "a run's network in every format",
    "export/test_published_export.py": "published weights, exported",
    "models/test_layers.py": "conv.py, selective_kernel.py and squeeze_excitation.py",
    "models/test_published_forward.py": "whole networks, against published numbers",
    "modules/test_module_consumers.py": "other programs that load a module",
    "objectives/test_nt_xent.py": "contrastive.py, by the name of its loss",
    "optimization/test_restart.py": "every optimizer, restored from a checkpoint",
    "rehearsal/test_compiler.py": "the TPU's compiler, behind the whole folder",
    "rehearsal/test_numerics.py": "a compiled step, against TensorFlow's own",
    "report/test_page_in_browser.py": "the pages in Chromium",
    "report/test_pages.py": "the pages of made-up runs",
    "report/test_report_of_a_run.py": "what a real run leaves and a page shows",
    "serving/test_serve_program.py": "the program in a process of its own",
    "tasks/test_compilation.py": "task.py: what is compiled",
    "tasks/test_evaluate.py": "task.py: Keras's evaluate",
    "tasks/test_fit.py": "task.py: Keras's fit, against Orbit",
    "tasks/test_keras_file.py": "task.py: Keras's files",
    "tasks/test_memory.py": "pretraining.py: the memory bank",
    "tasks/test_online_classifier.py": "pretraining.py: the classifier",
    "tasks/test_overflow.py": "task.py: mixed_float16 on several replicas",
    "tasks/test_published_steps.py": "whole steps, against published numbers",
    "tasks/test_replicas.py": "whole steps, on several replicas",
    "tasks/test_stages.py": "pretraining.py, finetuning.py and distillation.py",
    "tasks/test_unlabeled_rows.py": "every accuracy, without some labels",
    "training/test_damaged_model_dir.py": "the folder model_dir, each file damaged",
    "training/test_disk_full.py": "saving where there is no room",
    "training/test_labeled_stream.py": "distillation with two streams",
    "training/test_loop.py": "whole runs",
    "training/test_odd_directories.py": "paths of every kind",
    "training/test_other_images.py": "a run that resumes with other images",
    "training/test_resume.py": "every stage, stopped and resumed",
}


def imported_folders(path: pathlib.Path) -> set[str]:
    """The folders of the library that a file imports from, through the package's public names too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "tf_simclrv2":
            for alias in node.names:
                named = getattr(tf_simclrv2, alias.name, None)
                modules |= {f"tf_simclrv2.{alias.name}", getattr(named, "__module__", "")}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    parts = [module.split(".") for module in modules]
    inside = {names[1] for names in parts if names[0] == "tf_simclrv2" and len(names) > 1}
    return inside | {ENTRY_POINTS[names[0]] for names in parts if names[0] in ENTRY_POINTS}


def test_the_folders_of_tests_are_those_of_the_library():
    folders = {path.parent.name for path in TESTS.glob("*/test_*.py")}
    assert folders - ACROSS.keys() == FOLDERS


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_test_uses_the_folder_that_it_tests(folder):
    files = {path: f"{folder}/{path.name}" for path in (TESTS / folder).glob("test_*.py")}
    elsewhere = [
        name for path, name in files.items() if name not in INDIRECT and folder not in imported_folders(path)
    ]
    assert not elsewhere, f"{elsewhere} import nothing of tf_simclrv2/{folder}; move them to what they test"


def test_a_test_has_the_name_of_a_module_or_a_reason():
    unnamed = {
        str(path.relative_to(TESTS))
        for folder in FOLDERS
        for path in (TESTS / folder).glob("test_*.py")
        if not any((LIBRARY / folder).rglob(f"{path.stem.removeprefix('test_')}.py"))
    }
    unnamed |= {
        path.name
        for path in TESTS.glob("test_*.py")
        if not (LIBRARY / f"{path.stem.removeprefix('test_')}.py").exists()
    }
    assert unnamed == NOT_OF_ONE_MODULE.keys()
