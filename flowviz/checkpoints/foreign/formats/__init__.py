"""The known formats of foreign weights: one module each, imported here, which adds its entry."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
