"""`python -m tf_simclrv2 COMMAND` is `simclrv2 COMMAND`."""

from tf_simclrv2.cli.main import main

if __name__ == "__main__":
    main()
