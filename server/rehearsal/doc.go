// Package rehearsal tells what an event would lead to: the incident, who is asked
// at each level, and every message to every device and address with its instant,
// until nothing new would happen. Nothing is sent, and nothing is stored.
//
// It has no rules of its own. [Play] lets the code of the server run, from the
// meaning of an event (engine) over the decisions (incident, attention) to the
// messages (notify), on one snapshot of the directory, a clock that goes from one
// due instant to the next, and a ledger in memory that begins empty. Push services
// and mail servers take every message at once; nobody acknowledges.
//
// What it cannot know: what people do meanwhile, other incidents that are open,
// and whom a level that draws by lot will draw.
package rehearsal
