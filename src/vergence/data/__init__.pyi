from .image.batch import ImageBatch as ImageBatch
from .opening import open as open
from .source import Skipped as Skipped
from .source import Source as Source
