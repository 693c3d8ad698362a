"""The page on which a store is looked at: ``vergence.studio.app.launch``."""
