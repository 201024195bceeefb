"""Runs pytest on its arguments: the main program of every Bazel test here."""

import sys

import pytest

if __name__ == "__main__":
    del sys.path[0]  # tests/, whose folders have names as general as data and models
    sys.exit(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]]))
