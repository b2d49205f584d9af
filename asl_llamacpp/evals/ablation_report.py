def write_report(lines, folder): return ""
