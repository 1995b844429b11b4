"""A PDF file whose images are written with their page. Matplotlib itself keeps them all until the file is closed.

Hundreds of pages of maps would need gigabytes otherwise. This reaches into ``PdfFile``; where its inside has changed,
nothing is released and the file is right all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def frugal_file(path: Path, metadata: dict[str, str]) -> Any:
    """Open a PDF for :class:`matplotlib.backends.backend_pdf.PdfPages` to write to."""
    from matplotlib.backends.backend_pdf import PdfFile

    class FrugalFile(PdfFile):
        def release_images(self) -> None:
            """Write what images there are and forget their pixels, not their names."""
            images = getattr(self, "_images", None)
            if not isinstance(images, dict) or not all(isinstance(i, tuple) and len(i) == 3 for i in images.values()):
                return
            self.writeImages()
            # Under their names: an image that is gone leaves its id to another.
            self._images = {name: (None, name, ob) for _, name, ob in images.values()}

        def writeImages(self) -> None:  # noqa: N802  (the name of matplotlib)
            """Write those that still have pixels."""
            every = self._images
            self._images = {key: image for key, image in every.items() if image[0] is not None}
            try:
                super().writeImages()  # type: ignore[no-untyped-call]
            finally:
                self._images = every

    return FrugalFile(path, metadata=metadata)  # type: ignore[no-untyped-call]
