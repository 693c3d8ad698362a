from .batch import Columns as Columns
from .batch import TableBatch as TableBatch
from .read import read_table as read_table
from .schema import TableSchema as TableSchema
from .source import TableSource as TableSource
from .source import from_frame as from_frame
from .source import from_vectors as from_vectors
from .source import open_table as open_table
