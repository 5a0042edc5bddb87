package store

import "strings"

// parseInfo reads the lines of Redis's INFO.
func parseInfo(raw string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(raw) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
			info[name] = value
		}
	}
	return info
}
