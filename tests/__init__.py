"""The tests. A package, as an installed package of the same name would otherwise be found in its place."""
