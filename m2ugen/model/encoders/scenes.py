"""What the 1,000 ImageNet-1k classes show: the kind of scene they belong to, and the musical instruments among them.

Classes are given by their index. A class without a word about its surroundings (a screw, a bottle cap) counts as
"object".
"""

from __future__ import annotations

from functools import cache

import numpy as np

from m2ugen.model.encoders.efficientnet import NUM_CLASSES

# Spans are inclusive; the first scene that names a class has it, "object" has the rest.
SCENE_CLASSES: dict[str, str] = {
    "beach": "433 445 638 639 775 836-838 842 977 978",
    "water": "437 449 460 472 484 510 525 536 554 576 625 628 693 694 718 724 780 814 871 913 914 975 976",
    "mountain": "970 972 974 979 980 500 672",
    "forest": "448 596 634 988-997",
    "garden": "321-326 562 580 703 706 716 723 738 883 985 986",
    "farm": "7 8 339 345 348 410 425 428 514 515 595 599 603 621 653 660 690 730 756 757 853 856 866 912 958 984 "
    "987 998",
    "city": "407 415 424 436 454 467 468 480 498 509 517 555 569 571 582 612 627 637 640 654 656 661 675 704 707 717 "
    "733 734 743 762 779 788 821 829 839 860 864 867 869 874 877 886 888 900 919 920",
    "travel": "404 405 417 466 547 565 701 705 820 908",
    "racing": "475 479 511 518 535 573 581 609 665 670 685 751 817",
    "sport": "416 422 429 430 444 456 522 543 560 574 575 602 610 615 671 702 722 746 747 752 768 770 781 805 826 "
    "852 880 890 981",
    "band": "541 542 546 632 650 818 819",
    "concert": "432 486 558 566 579 594 683 687 854 881 889",
    "jazz": "513 776 875",
    "folk": "401 402 420 593 684 699",
    "tropical": "641 642 808 822",
    "party": "440 441 476 503 552 572 643 645 736 800 901 903 907 966",
    "food": "504 505 550 567 849 922-957 959-965 967-969",
    "home": "414 421 423 434 435 470 492 493 495 526 530 532 534 539 548 556 559 564 588 598 619 648 651 669 697 721 "
    "729 750 753 754 760 765 794 799 827 831 846 851 861 876 882 892 894 896 897 904 905",
    "study": "398 400 418 446 549 563 604 623 624 667 692 709 710 749 767 769 778 798 878 917 918 921",
    "children": "431 443 496 516 520 529 611 680 719 843 850 865 870",
    "pets": "151-268 281-285 330-333 338",
    "wild animals": "9 101-106 269-278 280 286-295 297-299 334-337 340-344 346 347 349-388",
    "birds": "10-24 80-100 127-144 146",
    "insects": "113 114 300-320",
    "reptiles": "25-32 35-68",
    "eerie": "69-79 469 570 583 607 646 815",
    "underwater": "0-6 33 34 107-109 112 115-126 147-150 327-329 389-397 801 833 973 983",
    "snow": "145 279 296 450 537 658 795 796 802 803",
    "space": "691 727 744 755 807 812",
    "military": "403 408 413 439 465 471 586 597 652 657 763 764 847 895",
    "history": "458 461 483 490 524 538 649 682 698 708 715 777 787 825 835 857 858 873 884",
    "sacred": "406 442 494 497 577 614 663 668 741 789 832 863 887 915",
    "technology": "438 447 481 482 485 487 508 527 528 531 590 592 605 613 617 620 662 664 673 681 688 712 713 732 "
    "742 745 759 761 782 810 823 845 848 872 916",
    "fashion": "399 411 451 452 457 459 474 501 502 551 568 578 584 585 589 601 608 629 630 631 655 679 689 711 735 "
    "748 774 806 824 834 841 885 893 906 982",
    "object": "",
}
SCENES = tuple(SCENE_CLASSES)
SCENE_INDEX = {name: index for index, name in enumerate(SCENES)}

INSTRUMENT_CLASSES: dict[str, str] = {  # instrument of m2ugen.score.attributes → classes that show it
    "piano": "579 881",
    "organ": "687",
    "accordion": "401",
    "harmonica": "593",
    "acoustic guitar": "402",
    "electric guitar": "546",
    "banjo": "420",
    "violin": "889",
    "cello": "486",
    "harp": "594",
    "flute": "558 684 699",
    "oboe": "432 683",
    "saxophone": "776",
    "trumpet": "513",
    "trombone": "875",
    "horn": "566",
    "vibraphone": "494 642 822",
    "drums": "541 542 641",
}
SEEN_INSTRUMENTS = tuple(INSTRUMENT_CLASSES)


def class_indices(spans: str) -> list[int]:
    """The numbers in spans such as "3 7-9"."""
    indices: list[int] = []
    for span in spans.split():
        first, _, last = span.partition("-")
        indices.extend(range(int(first), int(last or first) + 1))
    return indices


@cache
def scene_of_class() -> np.ndarray:
    """The scene's index of every class, int64 [NUM_CLASSES]."""
    scenes = np.full(NUM_CLASSES, SCENE_INDEX["object"])
    for name, spans in reversed(SCENE_CLASSES.items()):
        scenes[class_indices(spans)] = SCENE_INDEX[name]
    return scenes


@cache
def scene_matrix() -> np.ndarray:
    """Class probabilities times this are scene probabilities: float32 [NUM_CLASSES, scenes] of zeros and ones."""
    return np.eye(len(SCENES), dtype=np.float32)[scene_of_class()]


@cache
def instrument_matrix() -> np.ndarray:
    """Class probabilities times this are those of SEEN_INSTRUMENTS: float32 [NUM_CLASSES, instruments]."""
    matrix = np.zeros((NUM_CLASSES, len(SEEN_INSTRUMENTS)), dtype=np.float32)
    for column, spans in enumerate(INSTRUMENT_CLASSES.values()):
        matrix[class_indices(spans), column] = 1.0
    return matrix
