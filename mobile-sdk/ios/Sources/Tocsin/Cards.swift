import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A button of a card.
public struct CardButton: Sendable, Equatable {
    /// What the system calls it.
    public let id: String
    public let verb: Verb
    public let title: String
    /// Whether the phone has to be unlocked first.
    public let needsUnlock: Bool

    private static let prefix = "TOCSIN_"

    init(_ verb: Verb, _ title: String, needsUnlock: Bool) {
        id = Self.prefix + verb.rawValue
        self.verb = verb
        self.title = title
        self.needsUnlock = needsUnlock
    }

    /// The button by the name that the system gives back; nil for a tap on the card itself.
    public static func verb(_ id: String) -> Verb? {
        id.hasPrefix(prefix) ? Verb(rawValue: String(id.dropFirst(prefix.count))) : nil
    }
}

/// A kind of card, which the payload names: the app registers all of them at its start.
public struct CardCategory: Sendable, Equatable {
    /// `aps.category` of a push.
    public let id: String
    /// In the order in which they are offered.
    public let buttons: [CardButton]

    /// The titles of buttons, in English; an app gives its own for other languages.
    public struct Titles: Sendable {
        public var acknowledge = "Acknowledge"
        public var escalate = "Can't take it"
        public var resolve = "Resolve"

        public init() {}
    }

    /// All kinds. Acknowledging works on a locked phone, everything else asks to unlock it.
    public static func all(_ titles: Titles = Titles()) -> [CardCategory] {
        let buttons = [
            CardButton(.acknowledge, titles.acknowledge, needsUnlock: false), CardButton(.escalate, titles.escalate, needsUnlock: true),
            CardButton(.resolve, titles.resolve, needsUnlock: true),
        ]
        return [
            CardCategory(id: "TOCSIN_PAGE", buttons: buttons), CardCategory(id: "TOCSIN_PAGE_REDACTED", buttons: buttons),
            CardCategory(id: "TOCSIN_PAGE_OBSERVE", buttons: []), CardCategory(id: "TOCSIN_SHIFT", buttons: []),
        ]
    }
}

extension Phone {
    /// How long the system lets an app work on a tap, with some to spare.
    static let tapTime: TimeInterval = 25
    /// When the system shows by itself that a tap was not confirmed: a second after the app would.
    static let overdue: TimeInterval = 16

    /// Taps a button of a card and shows how it goes, in the place of that card.
    /// It returns when the server has answered, or when the system's time is up:
    /// the tap then goes on by itself, and with the next start of the app.
    ///
    /// - Parameter show: puts a card on the screen, in the place of the one before.
    ///   `otherwise` is the card that the system has to show by itself ``overdue``
    ///   seconds later, unless another has taken its place: an app that has ended
    ///   must not leave "acknowledging…" behind.
    public func act(
        _ verb: Verb, on push: Push, words: Card.Words = .english, show: @escaping @Sendable (_ card: Card, _ otherwise: Card?) async -> Void
    ) async {
        let told = await actions.tap(verb, on: push)
        _ = await account.gateway.system.within(Self.tapTime) {
            var shown: Card?
            for await progress in told {
                let card = Card(verb, progress, words: words)
                let isOpen = progress != .unconfirmed && !progress.isLast
                if card != shown { await show(card, isOpen ? Card(verb, .unconfirmed, words: words) : nil) }
                shown = card
            }
        }
    }

    /// What still has to get out when the process ends, as calls that the system
    /// makes in the background. What they say, the app says again at its next
    /// start, which changes nothing.
    public func leftovers() async -> [URLRequest] {
        await receipts.leftovers() + actions.leftovers()
    }
}
