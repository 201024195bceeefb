"""Every config dataclass whose fields are flags of a program."""

from tf_simclrv2.auto.auto_config import AutoConfig
from tf_simclrv2.config import AREAS, DataServiceConfig
from tf_simclrv2.doctor.doctor_config import DoctorConfig
from tf_simclrv2.embedding.duplicates_config import DuplicatesConfig
from tf_simclrv2.embedding.embed_config import EmbedConfig
from tf_simclrv2.embedding.search_config import SearchConfig
from tf_simclrv2.embedding.select_config import SelectConfig
from tf_simclrv2.export.convert_config import ConvertConfig
from tf_simclrv2.export.export_config import ExportConfig
from tf_simclrv2.rehearsal.rehearsal_config import RehearsalConfig
from tf_simclrv2.serving.serve_config import ServeConfig

OF_PROGRAMS = {
    "auto": AutoConfig,
    "convert": ConvertConfig,
    "data-service": DataServiceConfig,
    "doctor": DoctorConfig,
    "duplicates": DuplicatesConfig,
    "embed": EmbedConfig,
    "export": ExportConfig,
    "rehearse": RehearsalConfig,
    "search": SearchConfig,
    "select": SelectConfig,
    "serve": ServeConfig,
}
EVERY_CONFIG = {**AREAS, **OF_PROGRAMS}
