"""Everything under the prefix: the pages for people, the widget's API, the orders API, health and metrics."""
