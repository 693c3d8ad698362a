from .batch import EventBatch as EventBatch
from .batch import Fields as Fields
from .log import EventLog as EventLog
from .read import looks_like_events as looks_like_events
from .read import read_log as read_log
from .schema import EventSchema as EventSchema
from .source import EventSource as EventSource
from .source import open_events as open_events
