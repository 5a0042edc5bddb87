import Foundation

/// A push as it reached the app. The fields are those of docs/push.md.
public struct Push: Sendable, Equatable {
    /// What a push is for.
    public enum Kind: String, Sendable {
        /// Wakes somebody.
        case page
        /// Takes the place of an incident's card, without a sound.
        case clear
        /// Says something, without a sound.
        case info
        /// A page that says TEST.
        case test
        /// Shows nothing; it is answered by a receipt.
        case heartbeat
        /// A kind of a later version: shown as it came.
        case unknown
    }

    /// What the person is to the incident.
    public enum Shadow: String, Sendable {
        /// Only learns: no button to acknowledge.
        case observe
        /// Answers for practice; it is measured.
        case practise
        /// Has to answer as well.
        case duty
    }

    public let kind: Kind
    /// The delivery, a UUID: what receipts and taps name.
    public let deliveryID: String
    /// "" for what is about no incident.
    public let incidentID: String
    public let number: Int64
    public let revision: Int64
    public let severity: String
    public let title: String
    public let subtitle: String
    public let body: String
    /// The deadline, by the server's clock: after it, shown silently as missed.
    public let expires: Date?
    /// Whether a receipt is wanted.
    public let wantsReceipt: Bool
    /// Whether it comes with a sound.
    public let audible: Bool
    /// Whether that sounds through silence.
    public let critical: Bool
    /// Where the person only follows whoever is paged.
    public let shadow: Shadow?
    /// Something did not fit: read the incident when it is opened.
    public let fetch: Bool
    /// Extra fields.
    public let details: [String: String]

    let receiptPath: String
    let receiptKey: String
    let actionToken: String
    let sealed: String
    let sealedKey: String

    /// The name of the incident for the API, "" where there is none.
    public var incident: String { incidentID.isEmpty ? "" : "incidents/" + incidentID }

    /// Whether its card has a button to acknowledge.
    public var offersAcknowledge: Bool { kind == .page && !incidentID.isEmpty && shadow != .observe }

    /// To be given back by ``Phone/confirmAddress(nonce:)``, within ten minutes.
    public var nonce: String? { details["nonce"] }

    /// Whether the server wants another key: it cannot seal pages for this one.
    var asksForSealKey: Bool { details["ask"] == "seal_key" }

    /// The device that has been taken out, where the push says so.
    var wipes: String? { details["wipe"] }

    /// Reads the `userInfo` of a notification, or of a push in the background.
    ///
    /// - Returns: nil for what is no push of a tocsin server.
    public init?(_ userInfo: [AnyHashable: Any]) {
        guard JSONSerialization.isValidJSONObject(userInfo), let bytes = try? JSONSerialization.data(withJSONObject: userInfo) else { return nil }
        self.init(payload: bytes)
    }

    /// Reads the payload, as JSON.
    public init?(payload: Data) {
        guard let json = try? JSON(payload), json["t"].object != nil else { return nil }
        self.init(json)
    }

    init?(_ json: JSON) {
        let t = json["t"], aps = json["aps"]
        guard let delivery = UUID(uuidString: t["d"].string) else { return nil }
        let incident = t["i"].string
        guard incident.count <= 40, incident.allSatisfy({ $0.isASCII && ($0.isLowercase || $0.isNumber) }) else { return nil }
        kind = t["k"].word(or: .unknown)
        deliveryID = delivery.uuidString.lowercased()
        incidentID = incident
        number = t["n"].int
        revision = t["r"].int
        severity = t["s"].string
        // An alert may be one text alone.
        title = aps["alert"]["title"].string
        subtitle = aps["alert"]["subtitle"].string
        body = aps["alert"]["body"].text ?? aps["alert"].string
        expires = t["x"].int > 0 ? Date(timeIntervalSince1970: TimeInterval(t["x"].int)) : nil
        receiptPath = t["u"].string
        receiptKey = t["uk"].string
        wantsReceipt = !t["u"].string.isEmpty
        actionToken = t["a"].string
        sealed = t["e"].string
        sealedKey = t["ek"].string
        audible = !aps["sound"].isNull
        critical = aps["sound"]["critical"].bool
        shadow = Shadow(rawValue: t["sh"].string)
        fetch = t["fetch"].bool
        details = (t["m"].object ?? [:]).mapValues(\.string)
    }
}
