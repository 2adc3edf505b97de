import logging

from autocompress.cli.notices import notices_once


def test_what_is_logged_again_and_again_is_written_once(capsys):
    logger = logging.getLogger("autocompress.models.adaptation")
    with notices_once():
        for layer in ("stem", "head", "stem"):
            logger.warning("replaced layer %s", layer)
    assert capsys.readouterr().err.splitlines() == ["replaced layer stem", "replaced layer head"]
