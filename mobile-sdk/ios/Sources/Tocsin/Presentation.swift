import Foundation

/// What stands on the screen for a push.
public struct Presentation: Sendable, Equatable {
    public let title: String
    public let subtitle: String
    public let body: String
    /// What the phone makes of it.
    public let arrival: Arrival
    /// Whether it makes a sound: it rings, and came with one. What does not is shown passive.
    public let sounds: Bool
    /// Only out of what was sealed: no other link is opened.
    public let links: [SealedText.Link]

    init(_ push: Push, _ arrival: Arrival, _ opening: SealKeys.Opening) {
        self.arrival = arrival
        var text: SealedText?
        if case .opened(let opened) = opening { text = opened }
        title = text?.title ?? push.title
        subtitle = text.map(\.subtitle) ?? push.subtitle
        body = text.map(\.body) ?? push.body
        links = text?.links ?? []
        sounds = arrival == .ring && push.audible
    }
}

/// What the card of an incident says while a tap is under way, and after it.
public struct Card: Sendable, Equatable {
    public let title: String
    public let body: String
    /// Whether it has to be heard: a tap that got lost silently is the worst there is.
    public let sounds: Bool
    /// Whether the person has to open the app.
    public let opensApp: Bool

    /// The words of cards, in English; an app gives its own for other languages.
    public struct Words: Sendable {
        public var sending: @Sendable (Verb) -> String
        public var notDone: @Sendable (Verb) -> String
        public var state: @Sendable (Incident.State) -> String
        public var byYou = "by you"
        public var by: @Sendable (String) -> String
        public var yourTurn = "your turn"
        public var turnOf: @Sendable (String) -> String = { "it is " + $0 + "'s turn" }
        public var heard = "Heard"
        public var tapAgain = "Not confirmed by the server. Tap to try again."
        public var openApp = "Open the app, and do it there."
        public var notAllowed = "Your role does not allow it."
        public var signedOut = "This phone is signed out."

        public init(
            sending: @escaping @Sendable (Verb) -> String, notDone: @escaping @Sendable (Verb) -> String,
            state: @escaping @Sendable (Incident.State) -> String, by: @escaping @Sendable (String) -> String
        ) {
            self.sending = sending
            self.notDone = notDone
            self.state = state
            self.by = by
        }

        public static let english = Words(
            sending: { verb in
                switch verb {
                case .acknowledge: return "Acknowledging…"
                case .resolve: return "Resolving…"
                case .escalate: return "Escalating…"
                }
            },
            notDone: { verb in
                switch verb {
                case .acknowledge: return "Not acknowledged"
                case .resolve: return "Not resolved"
                case .escalate: return "Not escalated"
                }
            },
            state: { state in
                switch state {
                case .triggered: return "Triggered"
                case .acknowledged: return "Acknowledged"
                case .resolved: return "Resolved"
                case .unknown: return "Open"
                }
            },
            by: { "by " + $0 })
    }

    /// The card of a tap, by what is known of it. Only an answer of the server makes it say that anything was done.
    public init(_ verb: Verb, _ progress: TapProgress, words: Words = .english) {
        switch progress {
        case .sending, .waiting:
            (title, body, sounds, opensApp) = (words.sending(verb), "", false, false)
        case .unconfirmed, .expired:
            (title, body, sounds, opensApp) = (words.notDone(verb), words.tapAgain, true, true)
        case .confirmed(let answer):
            title = answer.isOfTest ? words.heard : words.state(answer.state)
            let isTaken = answer.state != .triggered
            if answer.holder.isEmpty {
                body = ""
            } else if answer.holderIsCaller {
                body = isTaken ? words.byYou : words.yourTurn
            } else {
                body = isTaken ? words.by(answer.holder) : words.turnOf(answer.holder)
            }
            (sounds, opensApp) = (false, answer.reopen)
        case .refused(let error):
            title = words.notDone(verb)
            switch error.remedy {
            case .deny: body = words.notAllowed
            case .signIn: body = words.signedOut
            default: body = words.openApp
            }
            (sounds, opensApp) = (true, true)
        }
    }
}
