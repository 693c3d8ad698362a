from .devices import make_fabric as make_fabric
from .embedding import Embeddings as Embeddings
from .embedding import embed as embed
from .loop import train as train
from .run import Run as Run
