"""The README's picture: six prompts, six clips of the embedded model, seeds as given; writes `sheet.png`."""

from PIL import Image, ImageDraw

from vgen import VideoPipeline

PROMPTS = (
    "a big red ball falls and bounces",
    "a blue ball rolls to the right across the floor",
    "a white ball is thrown to the left",
    "a purple ball passes behind a pillar to the right",
    "a big green box slides to the left and stops",
    "a yellow ball swings back and forth",
)
SEED, COLUMNS, LINE_PX = 1, 9, 14

if __name__ == "__main__":
    pipe = VideoPipeline.from_pretrained()
    card = pipe.model.card
    page = Image.new("RGB", (COLUMNS * (card.width + 2), len(PROMPTS) * (card.height + LINE_PX + 4)), "white")
    for row, prompt in enumerate(PROMPTS):
        clip = pipe(prompt, seed=SEED)
        top = row * (card.height + LINE_PX + 4)
        ImageDraw.Draw(page).text((2, top), prompt, fill="black")
        for column in range(COLUMNS):
            frame = clip.frames[column * (len(clip.frames) - 1) // (COLUMNS - 1)]
            page.paste(Image.fromarray(frame), (column * (card.width + 2), top + LINE_PX))
    page.save("sheet.png")
    print("sheet.png")
