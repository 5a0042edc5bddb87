package redisd_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tocsin-oncall/tocsin/server/redisd"
)

func TestMaxMemory(t *testing.T) {
	const meminfo = "MemTotal:        8192000 kB\nMemFree: 1 kB\n"
	const gib = 1 << 30
	cases := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no /proc", nil, gib / 100 * 60},
		{"machine", map[string]string{"proc/meminfo": meminfo}, 8192000 << 10 / 100 * 60},
		{"cgroup 2", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/tocsin.service\n",
			"sys/fs/cgroup/system.slice/tocsin.service/memory.max": "1073741824\n",
		}, gib / 100 * 60},
		{"cgroup 2, the parent is stricter", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "536870912\n",
		}, gib / 2 / 100 * 60},
		{"cgroup 2 inside a container", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "0::/docker/not/mounted/here\n",
			"sys/fs/cgroup/memory.max": "1073741824\n",
		}, gib / 100 * 60},
		{"cgroup 1", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1073741824\n",
		}, gib / 100 * 60},
		{"cgroup 1 without a limit", map[string]string{
			"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 8192000 << 10 / 100 * 60},
		{"never below the least", map[string]string{"proc/meminfo": "MemTotal: 4096 kB\n"}, 64 << 20},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range c.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := redisd.MaxMemory(root); got != c.want {
				t.Errorf("max memory = %d, want %d", got, c.want)
			}
		})
	}
}

func TestConfigQuotesPaths(t *testing.T) {
	text := redisd.Config{Dir: `/data/with "quotes" and \ spaces`}.Text()
	if want := `dir "/data/with \"quotes\" and \\ spaces"`; !strings.Contains(text, want) {
		t.Errorf("no line %s in:\n%s", want, text)
	}
}
