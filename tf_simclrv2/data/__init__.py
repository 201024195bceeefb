"""Images in, batches out: sources, augmentation and input pipelines."""

from tf_simclrv2.data.augmentation import (
    center_crop,
    check_unit_range,
    color_jitter,
    evaluation_view,
    finetune_view,
    random_flip,
    random_grayscale,
    random_resized_crop,
    resize,
    to_grayscale,
    view,
)
from tf_simclrv2.data.blur import batch_random_blur, gaussian_blur
from tf_simclrv2.data.digits import Digits
from tf_simclrv2.data.encoded_images import decode_image
from tf_simclrv2.data.image_folder import ImageFiles, list_image_files
from tf_simclrv2.data.label_subset import draw_per_class, label_subset
from tf_simclrv2.data.pipeline import (
    BatchOptions,
    distillation_batches,
    evaluation_batches,
    finetuning_batches,
    num_evaluation_batches,
    pretraining_batches,
)
from tf_simclrv2.data.request_images import check_not_empty, decode_request
from tf_simclrv2.data.seeds import example_seeds, uniform_of_seeds
from tf_simclrv2.data.service_client import ServiceClient
from tf_simclrv2.data.share import Share
from tf_simclrv2.data.skipped_images import SkippedImages
from tf_simclrv2.data.source import Source, check_same_classes, require_labels
from tf_simclrv2.data.sources import load_source

__all__ = [
    "BatchOptions",
    "Digits",
    "ImageFiles",
    "ServiceClient",
    "Share",
    "SkippedImages",
    "Source",
    "batch_random_blur",
    "center_crop",
    "check_not_empty",
    "check_same_classes",
    "check_unit_range",
    "color_jitter",
    "decode_image",
    "decode_request",
    "distillation_batches",
    "draw_per_class",
    "evaluation_batches",
    "num_evaluation_batches",
    "evaluation_view",
    "example_seeds",
    "finetune_view",
    "finetuning_batches",
    "gaussian_blur",
    "label_subset",
    "list_image_files",
    "load_source",
    "pretraining_batches",
    "random_flip",
    "random_grayscale",
    "random_resized_crop",
    "require_labels",
    "resize",
    "to_grayscale",
    "uniform_of_seeds",
    "view",
]
