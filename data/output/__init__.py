"""Tensors -> disk: a command's folder of results, what is in it already, threads that write, videos."""
