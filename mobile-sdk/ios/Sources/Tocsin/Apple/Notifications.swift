#if canImport(UserNotifications) && canImport(CryptoKit) && canImport(Security)
    import Foundation
    import UserNotifications

    extension AlertSettings {
        /// What the system says.
        init(_ settings: UNNotificationSettings) {
            self.init(
                critical: settings.criticalAlertSetting == .enabled, timeSensitive: settings.timeSensitiveSetting == .enabled,
                alert: settings.alertSetting == .enabled, sound: settings.soundSetting == .enabled,
                lockScreen: settings.lockScreenSetting == .enabled, scheduledSummary: settings.scheduledDeliverySetting == .enabled)
            switch settings.authorizationStatus {
            case .authorized, .ephemeral: permission = .granted
            case .provisional: permission = .provisional
            case .denied: permission = .denied
            default: permission = .notDetermined
            }
        }

        /// What the system lets the app do now. Report it by ``Phone/report(_:)`` whenever the app comes to the front.
        public static func current() async -> AlertSettings {
            await withCheckedContinuation { answer in
                UNUserNotificationCenter.current().getNotificationSettings { answer.resume(returning: AlertSettings($0)) }
            }
        }

        /// Asks the person, once, and answers what is allowed then.
        ///
        /// - Parameter critical: whether the app has Apple's entitlement for critical alerts; without it, asking for them fails.
        public static func ask(critical: Bool) async throws -> AlertSettings {
            var options: UNAuthorizationOptions = [.alert, .sound, .badge]
            if critical { options.insert(.criticalAlert) }
            try await withCheckedThrowingContinuation { (answer: CheckedContinuation<Void, any Error>) in
                UNUserNotificationCenter.current().requestAuthorization(options: options) { _, error in
                    if let error { answer.resume(throwing: error) } else { answer.resume() }
                }
            }
            return await current()
        }
    }

    extension CardCategory {
        /// Tells the system which cards have which buttons. Call it at every start of the app.
        ///
        /// - Parameters:
        ///   - hidden: what stands in the place of a text that the lock screen hides.
        ///   - others: categories of the app's own, which would be forgotten otherwise.
        public static func register(_ titles: Titles = Titles(), hidden: String = "Page", others: Set<UNNotificationCategory> = []) {
            let categories = all(titles).map { category in
                let actions = category.buttons.map { button in
                    UNNotificationAction(identifier: button.id, title: button.title, options: button.needsUnlock ? [.authenticationRequired] : [])
                }
                return UNNotificationCategory(
                    identifier: category.id, actions: actions, intentIdentifiers: [], hiddenPreviewsBodyPlaceholder: hidden, options: [])
            }
            UNUserNotificationCenter.current().setNotificationCategories(others.union(categories))
        }
    }

    extension Phone {
        /// What the person did with a notification, for `userNotificationCenter(_:didReceive:)`:
        /// a button acts, also on the lock screen, and its card shows how that goes; a tap on the card is reported as opened.
        ///
        /// - Returns: the push that the person opened; nil for a button, and for what is none of ours.
        public func handle(_ response: UNNotificationResponse, words: Card.Words = .english) async -> Push? {
            let request = response.notification.request
            guard let push = Push(request.content.userInfo) else { return nil }
            guard let verb = CardButton.verb(response.actionIdentifier) else {
                if response.actionIdentifier == UNNotificationDefaultActionIdentifier { await opened(push) }
                return response.actionIdentifier == UNNotificationDefaultActionIdentifier ? push : nil
            }
            // A notification with the same identifier takes the place of the one on the screen.
            let before = Copied(request.content)
            let identifier = request.identifier
            await act(verb, on: push, words: words) { card, otherwise in
                let center = UNUserNotificationCenter.current()
                center.removePendingNotificationRequests(withIdentifiers: [identifier])
                guard await Self.isFree(identifier, for: push, in: center) else { return }
                try? await center.add(UNNotificationRequest(identifier: identifier, content: before.with(card), trigger: nil))
                guard let otherwise else { return }
                let later = UNTimeIntervalNotificationTrigger(timeInterval: Self.overdue, repeats: false)
                try? await center.add(UNNotificationRequest(identifier: identifier, content: before.with(otherwise), trigger: later))
            }
            await handOver(from: nil)
            return nil
        }

        /// Whether nothing newer is where the tapped card was: a page that came since must
        /// not be covered by what a tap on another has come to, nor a clear.
        private static func isFree(_ identifier: String, for push: Push, in center: UNUserNotificationCenter) async -> Bool {
            await withCheckedContinuation { answer in
                center.getDeliveredNotifications { all in
                    let there = all.first { $0.request.identifier == identifier }.flatMap { Push($0.request.content.userInfo) }
                    answer.resume(returning: there == nil || there?.deliveryID == push.deliveryID)
                }
            }
        }
    }

    /// A content that nobody changes any more.
    private struct Copied: @unchecked Sendable {
        let content: UNNotificationContent

        init(_ content: UNNotificationContent) {
            self.content = content
        }

        /// The card of a tap, about the same incident.
        func with(_ card: Card) -> UNNotificationContent {
            let changed = UNMutableNotificationContent()
            changed.title = card.title
            changed.subtitle = content.subtitle.isEmpty ? content.title : content.subtitle
            changed.body = card.body
            changed.userInfo = content.userInfo
            changed.threadIdentifier = content.threadIdentifier
            // "Not acknowledged" has its buttons again.
            changed.categoryIdentifier = card.sounds ? content.categoryIdentifier : ""
            changed.sound = card.sounds ? .default : nil
            changed.interruptionLevel = card.sounds ? .timeSensitive : .passive
            return changed
        }
    }
#endif
