"""One py_test for each test_*.py of a folder."""

load("@rules_python//python:defs.bzl", "py_test")

def pytest_tests(size = "medium", deps = []):
    """Declares the tests of the calling package; its other modules and deps come along as their support."""
    support = native.glob(
        ["*.py"],
        allow_empty = True,
        exclude = ["test_*.py", "pytest_main.py"],
    )
    for test in native.glob(["test_*.py"], allow_empty = True):
        py_test(
            name = test[:-len(".py")],
            size = size,
            srcs = [test, "//tests:pytest_main.py"] + support,
            args = ["$(location %s)" % test],
            main = "//tests:pytest_main.py",
            deps = ["//tests:support"] + deps,
        )
