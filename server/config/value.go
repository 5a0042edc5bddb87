package config

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// ByteSize is a number of bytes, written as 1073741824, 512MB or 2GiB.
type ByteSize int64

var byteUnits = []struct { //nolint:gochecknoglobals // look-up table; longer suffixes first
	suffix string
	factor int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
	{"", 1},
}

func parseSize(s string) (ByteSize, error) {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.factor {
			break
		}
		return ByteSize(n * u.factor), nil
	}
	return 0, fmt.Errorf("write a size such as 512MB or 2GiB instead of %q", s)
}

// parseDuration is time.ParseDuration with days, which are 24 hours, in front: 90d, 1d12h.
func parseDuration(s string) (time.Duration, error) {
	var d time.Duration
	days, rest, found := strings.Cut(s, "d")
	if found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, durationError(s)
		}
		d = time.Duration(n) * 24 * time.Hour
		if rest == "" {
			return d, nil
		}
	} else {
		rest = s
	}
	r, err := time.ParseDuration(rest)
	if err != nil || r < 0 {
		return 0, durationError(s)
	}
	return d + r, nil
}

func durationError(s string) error {
	return fmt.Errorf("write a duration such as 30s, 5m, 12h or 90d instead of %q", s)
}

// showDuration writes d as parseDuration reads it, without the zero units of Duration.String.
func showDuration(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(days), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func splitAddress(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	return host, port, err == nil
}

func joinAddress(host, port string) string { return net.JoinHostPort(host, port) }
