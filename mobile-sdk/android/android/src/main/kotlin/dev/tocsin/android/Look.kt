// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.content.Context
import android.content.Intent
import android.net.Uri

/** What the app decides about how pages look and sound. */
public class Look(
    /** What the app calls itself to the server, as "Example On-Call/3.1". */
    public val agent: String,
    /** A resource of the app: the small icon of cards, white on transparent. */
    public val icon: Int,
    /** What a tap on a card opens: the incident of that id, or the app's start when it is empty. */
    public val open: (Context, incidentId: String) -> Intent,
    public val texts: Texts = Texts(),
    /** How a page sounds; null: as the phone's alarm. */
    public val sound: Uri? = null,
    /** How a critical page sounds; null: as the phone's alarm. */
    public val criticalSound: Uri? = null,
    /**
     * The version of the sounds. Nobody but the owner can change a channel once it exists, so that another
     * sound is another channel: raise it with the sound.
     */
    public val soundVersion: Int = 1,
)

/** What the library says, in English until the app sets it otherwise. In `%s` goes a name or a title. */
public class Texts {
    public var pages: String = "Pages"
    public var criticalPages: String = "Critical pages, through Do Not Disturb"
    public var information: String = "Information"
    public var acknowledge: String = "Acknowledge"
    public var acknowledging: String = "Acknowledging…"
    public var resolving: String = "Resolving…"
    public var escalating: String = "Calling the next…"
    /** Added while an action is under way that the full disk did not take. */
    public var notKept: String = "The phone's storage is full: leave the phone on until this is confirmed."
    public var notAcknowledged: String = "NOT acknowledged. Tap to try again."
    public var notDone: String = "NOT done: open the app."
    public var lockedUntilUnlock: String = "Unlock the phone: it is sent then."
    public var heldByYou: String = "Acknowledged by you"
    public var heldBy: String = "Acknowledged by %s"
    /** Somebody has it, and the answer does not say who. */
    public var held: String = "Acknowledged: it has moved on"
    public var triggered: String = "It is with %s"
    /** It is triggered, and nobody's turn. */
    public var open: String = "It needs somebody: open the app."
    /** The button of a test's card, and what it says once the server has it. */
    public var hear: String = "I heard it"
    public var heard: String = "Heard: pages reach this phone"
    public var resolved: String = "Resolved"
    public var missed: String = "Missed: %s"
    public var signedOut: String = "This phone was signed out. No page reaches it."
}
