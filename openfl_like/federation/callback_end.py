"""What is told of a callback that was ended before its experiment."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class CallbackEnd(StrEnum):
    """Why a callback was ended.

    Attributes:
        RAISED: Its code raised.
        SILENT: It did not come to an end with what it was given.
        FULL: Its files, open ones without a name among them, have grown beyond what it may write, or it has too many
            files or threads.
        DIED: Its process ended.
    """

    RAISED = "raised"
    SILENT = "silent"
    FULL = "full"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class CallbackEnded:
    """A callback writes nothing more; the experiment goes on without it.

    Attributes:
        callback: The name of its folder.
        end: Why.
        message: What was said of it.
    """

    kind: ClassVar[str] = "callback_ended"
    callback: str
    end: CallbackEnd
    message: str = ""
