import Foundation

/// One unit of work: something is wrong, and it is somebody's turn.
public struct Incident: Sendable, Equatable, Identifiable {
    public enum State: String, Sendable {
        /// People are being paged. Offer to acknowledge.
        case triggered = "STATE_TRIGGERED"
        /// Somebody is on it. Offer to resolve.
        case acknowledged = "STATE_ACKNOWLEDGED"
        case resolved = "STATE_RESOLVED"
        /// A state of a later version: show it as open.
        case unknown = ""
    }

    public enum Urgency: String, Sendable {
        case high = "URGENCY_HIGH"
        case low = "URGENCY_LOW"
        /// Counts as high.
        case unknown = ""
    }

    /// Whose turn it is.
    public struct Assignee: Sendable, Equatable {
        public let user: String
        public let displayName: String
        public let since: Date?
    }

    /// Who has taken it in hand, and when by the server's clock.
    public struct Acknowledgement: Sendable, Equatable {
        public let user: String
        public let displayName: String
        public let time: Date?
    }

    public struct Link: Sendable, Equatable {
        public let text: String
        public let url: URL
    }

    /// `incidents/{incident}`.
    public let name: String
    /// By which people speak of it.
    public let number: Int64
    public let title: String
    public let service: String
    public let team: String
    public let state: State
    public let urgency: Urgency
    /// "P1" to "P5", or "".
    public let priority: String
    /// "critical", "error", "warning", "info", or "".
    public let severity: String
    public let assignees: [Assignee]
    public let acknowledgements: [Acknowledgement]
    /// From 1; 0 when it was never on a policy.
    public let level: Int
    public let levelCount: Int
    /// When the next level is paged unless somebody acknowledges, by the server's clock.
    public let nextEscalation: Date?
    public let snoozedUntil: Date?
    public let source: String
    public let links: [Link]
    public let alertCount: Int
    public let openAlertCount: Int
    public let created: Date?
    public let updated: Date?
    public let resolved: Date?
    /// The version that a change may insist on.
    public let etag: String
    /// Of two copies, the one with more is newer.
    public let revision: Int64
    /// People who get its pages only to learn.
    public let observers: [String]

    public var id: String { name }

    init(_ json: JSON) {
        name = json["name"].string
        number = json["number"].int
        title = json["title"].string
        service = json["service"].string
        team = json["team"].string
        state = json["state"].word(or: .unknown)
        urgency = json["urgency"].word(or: .unknown)
        priority = Incident.word(json["priority"], prefix: "PRIORITY_")
        severity = Incident.word(json["severity"], prefix: "SEVERITY_").lowercased()
        assignees = json["assignees"].array.map {
            Assignee(user: $0["user"].string, displayName: $0["displayName"].string, since: $0["sinceTime"].date)
        }
        acknowledgements = json["acknowledgements"].array.map {
            Acknowledgement(user: $0["user"].string, displayName: $0["displayName"].string, time: $0["acknowledgeTime"].date)
        }
        level = Int(json["escalation"]["level"].int)
        levelCount = Int(json["escalation"]["levelCount"].int)
        nextEscalation = json["escalation"]["nextEscalationTime"].date
        snoozedUntil = json["snoozeUntil"].date
        source = json["source"].string
        links = json["links"].array.compactMap { link in
            URL(string: link["uri"].string).map { Link(text: link["text"].string, url: $0) }
        }
        alertCount = Int(json["alertCount"].int)
        openAlertCount = Int(json["openAlertCount"].int)
        created = json["createTime"].date
        updated = json["updateTime"].date
        resolved = json["resolveTime"].date
        etag = json["etag"].string
        revision = json["revision"].int
        observers = json["shadows"].array.filter { $0["mode"].string == "SHADOW_MODE_OBSERVE" }.map { $0["user"].string }
    }

    /// The word of an enum without its prefix, "" when it is not said.
    private static func word(_ json: JSON, prefix: String) -> String {
        let word = json.string.hasPrefix(prefix) ? String(json.string.dropFirst(prefix.count)) : json.string
        return word == "UNSPECIFIED" ? "" : word
    }
}
