import Foundation

/// What a phone does with a push, in the order in which pushes reach it.
public enum Arrival: String, Sendable {
    /// Show it, with its sound.
    case ring
    /// Show it quietly in the place of the incident's card.
    case replace
    /// Show it quietly.
    case quiet
    /// The delivery was there before: report the receipt again, show nothing.
    case duplicate
    /// Something newer is known of the incident: show nothing. An extension, which
    /// cannot drop a notification, shows it without a sound.
    case stale
    /// The deadline has passed: show it quietly, as missed.
    case missed
    /// Nothing to show.
    case silent
}

/// Remembers which deliveries came, and how new each incident is known to be.
///
/// App and extension judge at once, in processes of their own. So each fact is a
/// record of its own, which is made and never changed.
struct Arrivals: Sendable {
    private let storage: any Storage
    private let clock: ServerClock
    private let system: SystemClock
    /// What this process has recorded already, so that reading a list writes nothing twice.
    private let recorded = Locked<[String: Int64]>([:])

    private static let memory: TimeInterval = 7 * 86_400
    /// Files that were given to the system to be sent.
    static let upload = "upload-"

    init(storage: any Storage, clock: ServerClock, system: SystemClock) {
        self.storage = storage
        self.clock = clock
        self.system = system
    }

    /// Judges a push, and remembers it.
    ///
    /// Where the phone cannot remember, as on a full disk, it rings: a page that
    /// comes twice wakes somebody twice, one that is lost wakes nobody.
    func judge(_ push: Push) -> Arrival {
        let isNew = (try? storage.make("seen-" + push.deliveryID)) ?? true
        let newest = newestRevision(of: push.incidentID)
        saw(push.incidentID, revision: push.revision)
        guard isNew else { return .duplicate }
        if !push.incidentID.isEmpty, push.revision < newest { return .stale }
        if isMissed(push) { return .missed }
        switch push.kind {
        case .page, .test: return .ring
        case .clear: return .replace
        case .heartbeat: return .silent
        case .info: return .quiet
        case .unknown: return push.audible ? .ring : .quiet
        }
    }

    /// Whether the deadline of a page has passed, by what is known of the server's clock.
    func isMissed(_ push: Push) -> Bool {
        guard push.kind == .page || push.kind == .test, let expires = push.expires else { return false }
        return clock.now > expires
    }

    /// Remembers how new an incident is known to be, from a push.
    func saw(_ incident: String, revision: Int64) {
        guard !incident.isEmpty, revision > 0 else { return }
        let before: Int64? = recorded.with { recorded in
            let before = recorded[incident, default: 0]
            guard before < revision else { return nil }
            recorded[incident] = revision
            return before
        }
        guard let before, (try? storage.make("newest-\(incident)-\(revision)")) != nil else { return }
        if before > 0 { try? storage.remove("newest-\(incident)-\(before)") }
    }

    /// Remembers how new an incident is known to be from the API. One that is triggered
    /// wants to be heard, however new it is: repeats of its alert move its revision
    /// while its page is on the way, and an app that is open must not silence that.
    func saw(_ incident: Incident) {
        guard incident.state == .acknowledged || incident.state == .resolved else { return }
        saw(String(incident.name.split(separator: "/").last ?? ""), revision: incident.revision)
    }

    private func newestRevision(of incident: String) -> Int64 {
        guard !incident.isEmpty, let names = try? storage.names(beginning: "newest-\(incident)-") else { return 0 }
        return names.keys.compactMap { Int64($0.split(separator: "-").last ?? "") }.max() ?? 0
    }

    /// Forgets what is over a week old.
    func forget() {
        for prefix in ["seen-", "newest-", Self.upload] {
            for (name, written) in (try? storage.names(beginning: prefix)) ?? [:] where system.now().timeIntervalSince(written) > Self.memory {
                try? storage.remove(name)
            }
        }
    }
}
