import Foundation

/// A test of whether a page reaches the person, and how far it got.
public struct TestPush: Sendable, Equatable {
    public enum Verdict: String, Sendable {
        /// Received, and the person heard it.
        case passed = "VERDICT_PASSED"
        /// The push service refused it.
        case rejected = "VERDICT_REJECTED"
        /// The push service took it, and the phone was silent.
        case noReceipt = "VERDICT_NO_RECEIPT"
        /// The phone has it and may not show it.
        case suppressed = "VERDICT_SUPPRESSED"
        /// The person did not hear it, or did not say so within two minutes.
        case notHeard = "VERDICT_NOT_HEARD"
        /// A verdict of a later version: show it as not passed.
        case unknown = ""
    }

    /// `testPushes/{test}`.
    public let name: String
    public let deliveryID: String
    /// How far it got: "accepted", "received", …
    public let state: String
    /// How it ended; nil while it goes on.
    public let verdict: Verdict?
    /// The reason in the words of whoever gave it.
    public let code: String
    /// What the person can do about it, one sentence each.
    public let advice: [String]

    /// The test that a push is about, a fire drill included, which nobody on this phone asked for; nil for other pushes.
    public init?(of push: Push) {
        guard push.kind == .test else { return nil }
        self.init(["name": JSON("testPushes/" + push.deliveryID.filter { $0 != "-" }), "deliveryId": JSON(push.deliveryID)])
    }

    static let longest: TimeInterval = 130

    init(_ json: JSON) {
        name = json["name"].string
        deliveryID = json["deliveryId"].string
        let word = json["state"].string
        state = (word.hasPrefix("STATE_") ? String(word.dropFirst(6)) : word).lowercased()
        let said = json["verdict"].string
        verdict = said.isEmpty || said == "VERDICT_UNSPECIFIED" ? nil : Verdict(rawValue: said) ?? .unknown
        code = json["code"].string
        advice = json["advice"].array.map(\.string)
    }
}
