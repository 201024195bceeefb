"""The front door of `tf_simclrv2.cli.flags`; `recipes/` holds flag files."""

from tf_simclrv2.cli.flags import (
    config_from_flags,
    define_flags,
    explicit_fields,
    flag_values,
    notes_on_flags,
)

__all__ = ["config_from_flags", "define_flags", "explicit_fields", "flag_values", "notes_on_flags"]
