"""The images of a folder that look most like a given one.

python docs/examples/retrieval.py MODULE QUERY FOLDER [ENDPOINT]
"""

import pathlib
import sys

import tensorflow as tf

SHOWN, BATCH = 8, 64


def embed(module, paths: list[pathlib.Path], endpoint: str) -> tf.Tensor:
    """Features of length 1, [N, width]; their products are cosine similarities."""
    serve = module.signatures["image_bytes"]
    batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
    contents = [tf.constant([path.read_bytes() for path in batch]) for batch in batches]
    return tf.linalg.l2_normalize(tf.concat([serve(image_bytes=c)[endpoint] for c in contents], 0), axis=1)


def main(module_path: str, query: str, folder: str, endpoint: str = "final_avg_pool") -> None:
    """Prints the nearest neighbours, the most similar first."""
    module = tf.saved_model.load(module_path)
    paths = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix in (".png", ".jpg"))
    similarity = embed(module, [pathlib.Path(query)], endpoint) @ tf.transpose(embed(module, paths, endpoint))
    values, indices = tf.math.top_k(similarity[0], min(SHOWN, len(paths)))
    for value, index in zip(values.numpy(), indices.numpy(), strict=True):
        print(f"{value:.4f} {paths[index]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
