"""``python -m napari_semiseg`` is ``semiseg``."""

from napari_semiseg.cli import main

if __name__ == "__main__":
    main()
