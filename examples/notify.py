"""`notify`: posts what alerts say to a URL: a topic of ntfy, or whatever takes a text by HTTP."""

from __future__ import annotations

import time
from urllib.request import Request, urlopen

from datastalker.options import option
from datastalker.pipeline import Message, Pipeline, Sink
from datastalker.stage import Refused


@Pipeline.register_stage("notify")
class Notify(Sink):
    """Posts each alert's text; one that can't be posted is an error of this sink, and the rest go on."""

    url: str = option(help="where to post, such as https://ntfy.sh/TOPIC")
    tries: int = option(3, "how often to try, two seconds apart", minimum=1)

    def write(self, batch: list[Message]) -> list[Refused]:
        alerts = [message for message in batch if message.type == "alert"]
        refused = [Refused(message, self._post(str(message["text"]))) for message in alerts]
        return [each for each in refused if each.reason]

    def _post(self, text: str) -> str:
        """Empty if it was taken, else why not."""
        why = ""
        for number in range(self.tries):
            time.sleep(2 if number else 0)
            try:
                with urlopen(Request(self.url, text.encode()), timeout=10):
                    return ""
            except (OSError, ValueError) as error:
                why = f"it can't be posted: {error}"
        return why
