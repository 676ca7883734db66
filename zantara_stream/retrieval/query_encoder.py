"""The query encoder that the next build takes over from the current one, since exporting it takes long."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .. import __version__
from ..errors import IndexUnavailable
from .builds import current_name
from .embedding import Embedder
from .manifest import BUILDS, ENCODER, Manifest, check


def take_over_encoder(folder: Path, embedder: Embedder, out: Path) -> bool:
    """Link the encoder of the current build of `out` into another build's folder.

    Says whether it could be: it must be whole, and of the same model and the same version of this package.
    """
    current = out / BUILDS / current_name(out)
    try:
        manifest = Manifest.load(current)
        names = manifest.below(ENCODER)
        check(current, manifest, names)
    except IndexUnavailable:
        return False
    if not names or not _same(manifest, embedder):
        return False
    for name in names:
        _link(current / name, folder / name)
    return True


def _same(manifest: Manifest, embedder: Embedder) -> bool:
    known = (manifest.version, manifest.model, manifest.model_sha256, manifest.dimensions, manifest.max_tokens)
    return known == (__version__, embedder.name, embedder.sha256, embedder.dimensions, embedder.max_tokens)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without such links
        shutil.copyfile(source, target)
