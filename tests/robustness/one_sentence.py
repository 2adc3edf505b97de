"""What is said of a document that is damaged: one sentence."""

from autocompress.errors import AutocompressError


def told(read):
    """Return what an error of ours says, in one line; empty where there is none."""
    try:
        read()
    except AutocompressError as error:
        text = str(error)
        assert text
        assert len(text.splitlines()) == 1, text
        assert text.isprintable(), text
        return text
    return ""
