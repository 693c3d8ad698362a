from .batch import ImageBatch as ImageBatch
from .open import open as open
from .source import Skipped as Skipped
from .source import Source as Source
