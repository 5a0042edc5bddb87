package store

import (
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

func personToProto(p *attention.Person) *storepb.Person {
	return &storepb.Person{
		Updated: ms(p.Updated), SoundAt: ms(p.Sound.At), SoundUrgency: uint32(p.Sound.Urgency), Owed: ms(p.Owed),
		StormStart: ms(p.Storm.Start), StormSent: int32(p.Storm.Sent), StormLast: ms(p.Storm.Last), StormUpdate: ms(p.Storm.Update),
		Open: each(p.Open, itemToProto),
		Bundles: each(p.Bundles, func(b attention.Bundle) *storepb.Bundle {
			return &storepb.Bundle{
				Kind: uint32(b.Kind), Method: string(b.Method), Until: ms(b.Until), Items: each(b.Items, itemToProto),
			}
		}),
		Held: each(p.Held, lineToProto), Release: ms(p.Release),
		Told: each(p.Told, func(t attention.Told) *storepb.Told { return &storepb.Told{Key: t.Key, At: ms(t.At)} }),
		Recent: each(p.Recent, func(r attention.Recent) *storepb.Recent {
			return &storepb.Recent{Work: r.Work, At: ms(r.At), Outcome: &storepb.Outcome{
				Verdict: uint32(r.Outcome.Verdict), Sound: r.Outcome.Sound, Card: r.Outcome.Card,
				Until: ms(r.Outcome.Until), Open: int32(r.Outcome.Open),
			}}
		}),
		Outbox: each(p.Outbox, cardToProto),
	}
}

func personFromProto(id roster.UserID, pre prefix, m *storepb.Person) *attention.Person {
	return &attention.Person{
		User: id, Revision: pre.Revision, Writer: pre.Nonce, Updated: at(m.GetUpdated()),
		Sound: attention.Sound{At: at(m.GetSoundAt()), Urgency: incident.Urgency(m.GetSoundUrgency())}, Owed: at(m.GetOwed()),
		Storm: attention.Storm{
			Start: at(m.GetStormStart()), Sent: int(m.GetStormSent()), Last: at(m.GetStormLast()), Update: at(m.GetStormUpdate()),
		},
		Open: each(m.GetOpen(), itemFromProto),
		Bundles: each(m.GetBundles(), func(b *storepb.Bundle) attention.Bundle {
			return attention.Bundle{
				Kind: attention.BundleKind(b.GetKind()), Method: roster.MethodID(b.GetMethod()), Until: at(b.GetUntil()),
				Items: each(b.GetItems(), itemFromProto),
			}
		}),
		Held: each(m.GetHeld(), lineFromProto), Release: at(m.GetRelease()),
		Told: each(m.GetTold(), func(t *storepb.Told) attention.Told { return attention.Told{Key: t.GetKey(), At: at(t.GetAt())} }),
		Recent: each(m.GetRecent(), func(r *storepb.Recent) attention.Recent {
			o := r.GetOutcome()
			return attention.Recent{Work: r.GetWork(), At: at(r.GetAt()), Outcome: attention.Outcome{
				Verdict: attention.Verdict(o.GetVerdict()), Sound: o.GetSound(), Card: o.GetCard(),
				Until: at(o.GetUntil()), Open: int(o.GetOpen()),
			}}
		}),
		Outbox: each(m.GetOutbox(), cardFromProto),
	}
}

func itemToProto(i attention.Item) *storepb.Item {
	return &storepb.Item{
		Incident: string(i.Incident), Generation: i.Generation, Version: i.Version, Urgency: uint32(i.Urgency),
		Method: string(i.Method), At: ms(i.At), Card: int32(i.Card), Owed: i.Owed, Loud: i.Loud,
	}
}

func itemFromProto(m *storepb.Item) attention.Item {
	return attention.Item{
		Incident: incident.ID(m.GetIncident()), Generation: m.GetGeneration(), Version: m.GetVersion(),
		Urgency: incident.Urgency(m.GetUrgency()), Method: roster.MethodID(m.GetMethod()), At: at(m.GetAt()),
		Card: int(m.GetCard()), Owed: m.GetOwed(), Loud: m.GetLoud(),
	}
}

func lineToProto(l attention.Line) *storepb.Line {
	return &storepb.Line{
		At: ms(l.At), Incident: string(l.Incident), Method: string(l.Method), Text: l.Text, Item: itemToProto(l.Item),
	}
}

func lineFromProto(m *storepb.Line) attention.Line {
	return attention.Line{
		At: at(m.GetAt()), Incident: incident.ID(m.GetIncident()), Method: roster.MethodID(m.GetMethod()), Text: m.GetText(),
		Item: itemFromProto(m.GetItem()),
	}
}

func cardToProto(c attention.Card) *storepb.Card {
	return &storepb.Card{
		Id: c.ID, Kind: uint32(c.Kind), Method: string(c.Method), Urgency: uint32(c.Urgency), Number: int32(c.Number),
		Collapse: c.Collapse, Sound: c.Sound, Loud: c.Loud, Items: each(c.Items, itemToProto), Lines: each(c.Lines, lineToProto),
		More: int32(c.More), At: ms(c.At), Deadline: ms(c.Deadline), Retry: ms(c.Retry), Tries: int32(c.Tries),
	}
}

func cardFromProto(m *storepb.Card) attention.Card {
	return attention.Card{
		ID: m.GetId(), Kind: attention.CardKind(m.GetKind()), Method: roster.MethodID(m.GetMethod()),
		Urgency: incident.Urgency(m.GetUrgency()), Number: int(m.GetNumber()), Collapse: m.GetCollapse(),
		Sound: m.GetSound(), Loud: m.GetLoud(), Items: each(m.GetItems(), itemFromProto), Lines: each(m.GetLines(), lineFromProto),
		More: int(m.GetMore()), At: at(m.GetAt()), Deadline: at(m.GetDeadline()), Retry: at(m.GetRetry()), Tries: int(m.GetTries()),
	}
}
