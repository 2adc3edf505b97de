import logging

from autocompress.terminal.notices import notices_told_once


def test_what_is_logged_again_and_again_is_told_once(capsys):
    logger = logging.getLogger("autocompress.models.adaptation")
    with notices_told_once():
        for layer in ("stem", "head", "stem"):
            logger.warning("replaced layer %s", layer)
    assert capsys.readouterr().err.splitlines() == ["replaced layer stem", "replaced layer head"]
