"""What a run keeps on disk, and how it finds it again."""
