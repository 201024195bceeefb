"""Embeds images with a trained network: `simclrv2 embed`."""

from __future__ import annotations

import sys

from tf_simclrv2.backend import quiet_tensorflow
from tf_simclrv2.command_line import ArgumentParser
from tf_simclrv2.progress import phase, say_at_once


def main() -> None:
    """Reads the command line, embeds, and says where."""
    arguments = vars(_parser().parse_args())
    quiet_tensorflow()
    with phase("starting TensorFlow", say_at_once):
        from tf_simclrv2.embedding.embed import EmbedConfig, embed

    say_at_once(embed(EmbedConfig(**arguments), say_at_once))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog=sys.argv[0], description="Writes the features of images to a file.")
    parser.add_argument("network", metavar="NETWORK", help="a model_dir, a ckpt-N or an exported SavedModel")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="ends in .parquet, .npz or .csv; required"
    )
    parser.add_argument("--data_dir", metavar="FOLDER", help="the images, at any depth")
    parser.add_argument("--files", metavar="LIST", help="a text file with the path of an image on each line")
    parser.add_argument("--dataset", metavar="NAME", help="a TFDS dataset, with --split")
    parser.add_argument("--split", help="a split of the dataset, or of a folder of splits and classes")
    parser.add_argument(
        "--endpoint",
        default="final_avg_pool",
        help="final_avg_pool (the default), or a layer of the projection head such as proj_head_1",
    )
    parser.add_argument("--batch_size", type=int, default=256, help="images computed together [256]")
    parser.add_argument(
        "--strategy",
        choices=("auto", "one_device", "mirrored"),
        default="auto",
        help="which devices compute: all GPUs of this machine, or one [auto]",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    return parser
