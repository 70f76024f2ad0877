"""all-MiniLM-L6-v2: texts → sentence vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.encoders import memory, nets
from app.encoders.packages import minilm_folder

DIMENSION = 384
_LONGEST = 256  # tokens, as the model was trained (sentence_bert_config.json)
_BATCH = 32

Array = NDArray[np.float32]


class MiniLM:
    """Thread-safe. The table of word embeddings stays on disk, memory-mapped."""

    def __init__(self, models_dir: Path, *, threads: int = 1) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415

        paths = nets.ensure(nets.POCKET_TEXT, models_dir)
        self._words = np.load(paths["minilm-words"], mmap_mode="r")
        self._session = nets.open_session(paths["minilm"], threads=threads)
        self._tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
        self._tokenizer.enable_truncation(_LONGEST)
        self._tokenizer.enable_padding()

    def encode(self, texts: Sequence[str]) -> Array:
        """n texts → (n, 384) unit vectors. Texts beyond 256 tokens are cut."""
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            coded = self._tokenizer.encode_batch([texts[index] for index in part])
            ids = np.array([code.ids for code in coded])
            mask = np.array([code.attention_mask for code in coded], np.float32)
            vectors[part] = self._session.run(None, {"words": self._words[ids], "mask": mask})[0]
        memory.used()
        return vectors
