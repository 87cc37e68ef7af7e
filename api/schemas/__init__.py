"""JSON as the outside sees it: camelCase documents out, strict bodies in."""
