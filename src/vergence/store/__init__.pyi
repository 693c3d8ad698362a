from .table import Store as Store
