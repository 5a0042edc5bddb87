// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.Notification
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent
import android.graphics.drawable.Icon
import android.net.Uri
import android.os.Build
import android.os.Bundle
import dev.tocsin.Arrival
import dev.tocsin.Card
import dev.tocsin.Incoming
import dev.tocsin.Push
import dev.tocsin.Shown
import dev.tocsin.Tap
import dev.tocsin.TapState
import dev.tocsin.v1.ActRequest.Verb
import dev.tocsin.v1.ActResponse
import dev.tocsin.v1.Incident

/** The cards on the screen: one for each tag, replaced in place. */
internal class Cards(private val context: Context, private val look: Look, private val channels: Channels, private val settings: Settings) {
    private val notifications = context.service<NotificationManager>()

    /** Shows what arrived, and says what became of it. [now] is by the server's clock; null when that is not known for sure. */
    fun show(incoming: Incoming, now: Long?): Shown {
        val push = incoming.push
        val title = if (incoming.arrival == Arrival.MISSED) look.texts.missed.format(incoming.title) else incoming.title
        when (incoming.arrival) {
            Arrival.DUPLICATE, Arrival.STALE, Arrival.NOTHING -> return Shown.Nothing
            Arrival.REPLACE, Arrival.MISSED -> {
                val hidden = settings.hides(Channels.INFO)
                if (hidden.isNotEmpty()) return Shown.Suppressed(hidden)
                post(push.tag, card(Channels.INFO, Subject.of(push), title, incoming.subtitle, incoming.body).build())
                return Shown.Displayed(audible = false)
            }
            Arrival.RING -> {}
        }
        val channel = channels.of(push)
        val hidden = settings.hides(channel)
        if (hidden.isNotEmpty()) return Shown.Suppressed(hidden)
        post(push.tag, page(incoming, channel, now))
        val quiet = if (push.audible) settings.quiets(channel) else "channel"
        return Shown.Displayed(audible = quiet.isEmpty(), quiet = if (push.audible) quiet else "")
    }

    private fun page(incoming: Incoming, channel: String, now: Long?): Notification {
        val push = incoming.push
        val subject = Subject.of(push)
        val actions = when {
            push.offersAcknowledge -> listOf(acknowledge(Card.of(incoming), push.incidentId, look.texts.acknowledge))
            push.offersHeard -> listOf(acknowledge(Card.of(incoming), "", look.texts.hear))
            else -> emptyList()
        }
        // What the lock screen shows: the text in the clear, and the same button.
        val public = card(channel, subject, push.title, "", push.body).setActions(*actions.toTypedArray()).build()
        val card = card(channel, subject, incoming.title, incoming.subtitle, incoming.body)
            .setCategory(Notification.CATEGORY_ALARM)
            .setVisibility(Notification.VISIBILITY_PRIVATE)
            .setPublicVersion(public)
            .setActions(*actions.toTypedArray())
            .setNumber(push.badge)
            .setOnlyAlertOnce(false)
        if (push.expires > 0) card.setTimeoutAfter(if (now == null) A_PAGE else (push.expires - now).coerceAtLeast(1_000))
        // What the system opens by itself nobody has opened: it says nothing of the delivery.
        if (push.kind == Push.Kind.PAGE && settings.mayTakeTheScreen()) card.setFullScreenIntent(opening(subject.copy(opened = ""), BY_ITSELF), true)
        return card.build().apply { if (push.insistent) flags = flags or Notification.FLAG_INSISTENT }
    }

    /**
     * Says how it stands with a tap, in the place of the card that was tapped and of no other: a page that came since
     * rings on, and a clear is newer than what the tap knows. Nothing here says "acknowledged" but what the server said.
     */
    fun show(tap: Tap, button: Card, incidentId: String, title: String, locked: Boolean) {
        val there = delivery(tap.tag)
        if (there.isNotEmpty() && there != tap.deliveryId) return
        val texts = look.texts
        val subject = Subject(tap.tag, incidentId, tap.deliveryId)
        when (val state = tap.state) {
            TapState.Acting -> {
                val text = listOfNotNull(acting(tap.verb), texts.notKept.takeIf { !tap.kept }, texts.lockedUntilUnlock.takeIf { locked }).joinToString(" ")
                post(tap.tag, spoken(Channels.INFO, subject, title, text, text).setProgress(0, 0, true).setOngoing(true).build())
            }
            TapState.Unconfirmed -> loud(subject, button, title, if (tap.verb == Verb.VERB_ACKNOWLEDGE) texts.notAcknowledged else texts.notDone)
            is TapState.Refused -> loud(subject, null, title, texts.notDone, state.error.message.orEmpty())
            TapState.GivenUp -> loud(subject, null, title, texts.notDone)
            is TapState.Done -> post(tap.tag, card(Channels.INFO, subject, title, "", outcome(state)).setTimeoutAfter(DONE_STAYS).build())
        }
    }

    private fun acting(verb: Verb) = when (verb) {
        Verb.VERB_RESOLVE -> look.texts.resolving
        Verb.VERB_ESCALATE -> look.texts.escalating
        else -> look.texts.acknowledging
    }

    private fun outcome(done: TapState.Done): String {
        val answer = done.answer
        val texts = look.texts
        return when {
            answer.state == Incident.State.STATE_UNSPECIFIED && answer.outcome == ActResponse.Outcome.OUTCOME_DONE -> texts.heard
            answer.state == Incident.State.STATE_RESOLVED -> texts.resolved
            answer.state == Incident.State.STATE_ACKNOWLEDGED && answer.holderIsCaller -> texts.heldByYou
            answer.state == Incident.State.STATE_ACKNOWLEDGED -> if (answer.holder.isEmpty()) texts.held else texts.heldBy.format(answer.holder)
            else -> if (answer.holder.isEmpty()) texts.open else texts.triggered.format(answer.holder)
        }
    }

    /** With a sound, on the channel of pages: whoever tapped has turned away. */
    private fun loud(subject: Subject, button: Card?, title: String, text: String, more: String = "") {
        val card = spoken(channels.normal()?.id ?: Channels.INFO, subject, title, "$text $more".trim(), text, button).setCategory(Notification.CATEGORY_ALARM)
        post(subject.tag, card.build())
    }

    /** A card that says [text] on the locked phone too, where [public] is all of it: whose incident it is stays hidden. */
    private fun spoken(channel: String, subject: Subject, title: String, text: String, public: String, button: Card? = null): Notification.Builder {
        val actions = listOfNotNull(button?.let { acknowledge(it, subject.incidentId, look.texts.acknowledge) }).toTypedArray()
        return card(channel, subject, title, "", text).setActions(*actions)
            .setPublicVersion(card(channel, subject, public, "", "").setActions(*actions).build())
    }

    /** Nobody is signed in any more: whatever is on the screen is none of anybody's, and the person is told. */
    fun signedOut() {
        clear()
        if (settings.hides(Channels.INFO).isEmpty()) post(SIGNED_OUT, card(Channels.INFO, Subject(SIGNED_OUT, "", ""), look.texts.signedOut, "", "").build())
    }

    /** Takes every card off the screen. */
    fun clear() {
        notifications.activeNotifications.filter { it.id == ID }.forEach { notifications.cancel(it.tag, ID) }
    }

    private fun card(channel: String, subject: Subject, title: String, subtitle: String, body: String): Notification.Builder {
        val text = listOf(subtitle, body).filter { it.isNotEmpty() }.joinToString("\n")
        return Notification.Builder(context, channel)
            .setSmallIcon(look.icon)
            .setContentTitle(title)
            .setContentText(text)
            .setStyle(Notification.BigTextStyle().bigText(text))
            .setContentIntent(opening(subject, BY_THE_PERSON))
            .setAutoCancel(true)
            .setShowWhen(true)
            .addExtras(
                Bundle().apply {
                    putString(TITLE, title)
                    putString(DELIVERY, subject.delivery)
                },
            )
    }

    private fun acknowledge(card: Card, incidentId: String, title: String): Notification.Action {
        val intent = TapReceiver.intent(context, card, incidentId)
        val tap = PendingIntent.getBroadcast(context, 0, intent, PendingIntent.FLAG_UPDATE_CURRENT or PendingIntent.FLAG_IMMUTABLE)
        val action = Notification.Action.Builder(Icon.createWithResource(context, look.icon), title, tap)
        // On the locked phone too.
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) action.setAuthenticationRequired(false)
        return action.build()
    }

    private fun opening(subject: Subject, who: Int): PendingIntent {
        val intent = look.open(context, subject.incidentId).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK)
            .putExtra(Tocsin.EXTRA_DELIVERY, subject.opened)
        // Intents that differ in their extras only are one to the system.
        if (intent.data == null) intent.setData(Uri.fromParts("tocsin", subject.tag, null))
        return PendingIntent.getActivity(context, who, intent, PendingIntent.FLAG_UPDATE_CURRENT or PendingIntent.FLAG_IMMUTABLE)
    }

    private fun post(tag: String, card: Notification) = notifications.notify(tag, ID, card)

    /** The title of the card that is on the screen, which a tap's state is shown with. */
    fun title(tag: String): String = extra(tag, TITLE)

    /** The delivery that the card on the screen is about, empty when there is none. */
    private fun delivery(tag: String): String = extra(tag, DELIVERY)

    private fun extra(tag: String, key: String): String =
        notifications.activeNotifications.firstOrNull { it.id == ID && it.tag == tag }?.notification?.extras?.getString(key).orEmpty()

    /** What a card is about. [delivery] is whose card it is, [opened] what is reported when the person opens it: empty, nothing. */
    private data class Subject(val tag: String, val incidentId: String, val delivery: String, val opened: String = "") {
        companion object {
            fun of(push: Push) = Subject(push.tag, push.incidentId, push.deliveryId, if (push.wantsReceipt) push.deliveryId else "")
        }
    }

    companion object {
        const val ID = 0x70c51
        private const val TITLE = "dev.tocsin.title"
        private const val DELIVERY = "dev.tocsin.card"
        private const val A_PAGE = 10 * 60_000L // lives at least so long
        private const val BY_THE_PERSON = 0
        private const val BY_ITSELF = 1
        private const val SIGNED_OUT = "signed-out"
        private const val DONE_STAYS = 60_000L
    }
}
