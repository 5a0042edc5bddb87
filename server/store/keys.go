package store

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Every key is built here. The braces hold the hash tag: keys with one tag are
// in one slot, which is what lets one script touch them all.

// key returns a key of the partition: what kind it is, and the name of one of many.
func (p Partition) key(kind, name string) string { return "{" + tags[p] + "}:" + kind + name }

func incidentKey(p Partition, id incident.ID) string { return p.key("i:", string(id)) } // string: prefix, body
func personKey(p Partition, id roster.UserID) string { return p.key("u:", string(id)) } // string: prefix, body

// docKey is the string that holds a document.
func docKey(p Partition, d Doc) string {
	if d.Person != "" {
		return personKey(p, d.Person)
	}
	return incidentKey(p, d.Incident)
}

// timelineKey is the list of an incident's entries, in order.
func timelineKey(p Partition, id incident.ID) string { return p.key("tl:", string(id)) }

// alertsKey is the hash of an incident's alerts: field = service NUL key.
func alertsKey(p Partition, id incident.ID) string { return p.key("al:", string(id)) }

// deliveriesKey is the hash of a document's deliveries: field = the id's 16 bytes.
// That of an incident has the incident's bare id, that of a person "u:" before it.
func deliveriesKey(p Partition, d Doc) string {
	if d.Person != "" {
		return p.key("dv:u:", string(d.Person))
	}
	return p.key("dv:", string(d.Incident))
}

// deliveryKey leads from a delivery to its document.
func deliveryKey(p Partition, raw []byte) string { return p.key("d:", string(raw)) }

// keysKey is the hash of a service's dedup keys that lead to an incident.
func keysKey(p Partition, s catalog.ServiceID) string { return p.key("dd:", string(s)) }

func openKey(p Partition) string   { return p.key("open", "") }   // zset: open incidents by creation, ms
func timersKey(p Partition) string { return p.key("tm", "") }     // zset: documents by due instant, ms
func inboxKey(p Partition) string  { return p.key("in", "") }     // stream: accepted events
func workKey(p Partition) string   { return p.key("wk", "") }     // stream: what has to be done outside
func triesKey(p Partition) string  { return p.key("wt", "") }     // hash: failed handlings of a work item
func fenceKey(p Partition) string  { return p.key("fence", "") }  // string: how far the inbox had come when its server became master
func feedKey(p Partition) string   { return p.key("feed", "") }   // stream: every visible change
func closedKey(p Partition) string { return p.key("closed", "") } // stream: incidents in closing order
func deadKey(p Partition) string   { return p.key("dlq", "") }    // stream: what was given up on
func metaKey(p Partition) string   { return p.key("meta", "") }   // hash: how far walkers came, what was trimmed

// serviceKey and assigneeKey are zsets of open incidents by creation, ms.
func serviceKey(p Partition, s catalog.ServiceID) string { return p.key("sv:", string(s)) }
func assigneeKey(p Partition, u roster.UserID) string    { return p.key("pe:", string(u)) }

// factsKey is the hash of the facts of incidents created on a day (UTC, YYYYMMDD).
func factsKey(p Partition, day string) string { return p.key("facts:", day) }

// requestKey holds the answer to a request id; seenKey marks a sender's event id.
func requestKey(p Partition, id string) string { return p.key("rq:", short(id)) }

func seenKey(p Partition, integration catalog.IntegrationID, id string) string {
	return p.key("seen:", short(string(integration)+"\x00"+id))
}

// onceKey holds a value that is taken once.
func onceKey(p Partition, key string) string { return p.key("once:", short(key)) }

func droppedKey(p Partition) string      { return p.key("drop", "") }  // stream: ring of dropped events
func droppedCountKey(p Partition) string { return p.key("dropn", "") } // hash: how many, by service and reason
func rawKey(p Partition) string          { return p.key("raw", "") }   // stream: ring of bodies
func devicesKey(p Partition) string      { return p.key("ds", "") }    // hash: last word of each device

// turnKey is the cursor of a round-robin level, turnClaimKey one incident's claim
// on it; each level has a tag of its own.
func turnKey(id escalation.PolicyID, level int) string {
	return "{rr:" + string(id) + ":" + strconv.Itoa(level) + "}:at"
}

func turnClaimKey(id escalation.PolicyID, level int, in incident.ID) string {
	return "{rr:" + string(id) + ":" + strconv.Itoa(level) + "}:" + string(in)
}

// Configuration and membership have a slot each.
const (
	configKey         = "{c}:r"       // hash: kind/id to record
	configLogKey      = "{c}:log"     // stream: every change of a record
	configLowKey      = "{c}:loglow"  // string: last trimmed id of the log
	configRevisionKey = "{c}:rev"     // string: last revision given out
	configFenceKey    = "{c}:fence"   // string: how far the log had come when its server became master
	auditKey          = "{c}:audit"   // stream: who changed what
	numberKey         = "{c}:number"  // string: last human number given out
	membersKey        = "{m}:members" // hash: instance to last word
	leasesKey         = "{m}:leases"  // hash: partition to owner and epoch
	formatKey         = "{m}:format"  // hash: what the data was written as
	wakeChannel       = "{m}:wake"    // channel: who should look now
)

// Drills have a slot, and so has how calendars of vacations were read.
const (
	drillKey      = "{d}:drill"  // hash: drill to its revision and itself
	drillsKey     = "{d}:drills" // zset: all of them by beginning, ms
	drillsOpenKey = "{d}:open"   // zset: those that are not over, likewise
	readingsKey   = "{d}:read"   // hash: person to how reading the calendar went
)

// drillsOfKey is the zset of a person's drills by beginning, ms.
func drillsOfKey(u roster.UserID) string { return "{d}:of:" + string(u) }

// bearerKey is the newest provider token of a team's key.
func bearerKey(name string) string { return "{m}:bearer:" + short(name) }

// short bounds what others may make as long as they like.
func short(s string) string {
	if len(s) <= 64 {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}
