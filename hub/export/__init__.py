"""What leaves the hub as a file: tlog, CSV, Parquet, Arrow, GeoJSON, KML, GPX, evidence. Pure: values in, bytes out."""
