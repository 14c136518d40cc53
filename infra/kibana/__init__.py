"""Kibana's saved objects: `python -m infra.kibana` writes the .ndjson files from `dashboards`.

`lens` and `objects` put what is described there into the shape of what Kibana 8 exports, `queries`
takes a panel's query out of that again, `picture` draws what came of it.
"""
